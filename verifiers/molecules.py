"""Molecules judged by RDKit. An answer is SMILES; what RDKit cannot read, or is nothing, is unscored with the reason.

RDKit holds the interpreter, so all of these run in the pool of processes. Answers vote as canonical SMILES.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from search.plugins import plugin
from search.ports import Answer, Config, Item, Score, Verifier
from verifiers.each import Unreadable, each, finite, text

LONGEST = 500
"""Characters of SMILES that are judged."""


class Molecule(NamedTuple):
    """What RDKit made of an answer, and its canonical SMILES."""

    mol: Any
    canonical: str


class Plain(Config):
    """No settings."""


class Synthesis(Config):
    """How hard a molecule is to make."""

    limit: float = Field(4.0, ge=1, le=10, description="Passes at this SA score or below; 1 is easy, 10 is hard.")


class Window(Config):
    """A property that should lie in a window."""

    low: float | None = Field(None, ge=-1e6, le=1e6, description="Lowest value that passes; open when left out.")
    high: float | None = Field(None, ge=-1e6, le=1e6, description="Highest value that passes; open when left out.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("give `low`, `high` or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


def sound_smarts(pattern: str) -> str:
    """The pattern. Raises ValueError when it is no SMARTS."""
    from rdkit import rdBase

    with rdBase.BlockLogs():
        known = _chem().MolFromSmarts(pattern)
    if known is None:
        raise ValueError(f"{pattern[:100]!r} is no SMARTS; for example [NX3;H2] or c1ccccc1")
    return pattern


def sound_smiles(written: str) -> str:
    """The SMILES. Raises ValueError when RDKit cannot read it."""
    try:
        read(written)
    except Unreadable as error:
        raise ValueError(f"{written[:100]!r}: {error}") from None
    return written


class Substructure(Config):
    """A pattern that should be there, or should not."""

    smarts: Annotated[str, AfterValidator(sound_smarts)] = Field(max_length=1000, description="What is looked for.")
    wanted: bool = Field(True, description="Passes when it is there; false: when it is not.")


class Similarity(Config):
    """A molecule to be near to."""

    to: Annotated[str, AfterValidator(sound_smiles)] | None = Field(
        None, max_length=LONGEST, description="SMILES; the item's target when left out."
    )

    def check(self, item: Item) -> None:
        """Raise ValueError unless the job or the item names a molecule."""
        if self.to is None:
            if not isinstance(item.target, str):
                raise ValueError(f"give `to`, or a target that is SMILES, not {item.target!r:.50}")
            sound_smiles(item.target)


@plugin(version="1", place="process")
def valid(config: Plain) -> Verifier:
    """1 for a molecule, 0 for what RDKit cannot read: here that is the question, so it is judged."""

    def judge(answer: Answer) -> Score:
        written = text(answer.value)
        try:
            return Score(1.0, True, None, read(written).canonical)
        except Unreadable as error:
            return Score(0.0, False, str(error))

    return each(judge)


@plugin(version="1", place="process")
def qed(config: Plain) -> Verifier:
    """Quantitative estimate of drug-likeness, 0 to 1 (Bickerton et al. 2012)."""
    from rdkit.Chem import QED

    return _valued(lambda mol: (QED.qed(mol), None, None))


@plugin(version="1", place="process")
def sa(config: Synthesis) -> Verifier:
    """(10 - SA) / 9, 0 to 1: 1 is easily made (Ertl and Schuffenhauer 2009)."""

    def judge(mol: Any) -> tuple[float, bool | None, str | None]:
        score = _sascorer().calculateScore(mol)
        return (10 - score) / 9, score <= config.limit, f"SA {score:.3f}"

    return _valued(judge)


@plugin(version="1", place="process")
def logp(config: Window) -> Verifier:
    """Minus how far Crippen's logP lies outside the window (Wildman and Crippen 1999)."""
    from rdkit.Chem import Crippen

    crippen: Any = Crippen
    return _valued(lambda mol: _within("logP", crippen.MolLogP(mol), config))


@plugin(version="1", place="process")
def weight(config: Window) -> Verifier:
    """Minus how far the molecular weight lies outside the window, g/mol."""
    from rdkit.Chem import Descriptors

    descriptors: Any = Descriptors
    return _valued(lambda mol: _within("weight", descriptors.MolWt(mol), config))


@plugin(version="1", place="process")
def substructure(config: Substructure) -> Verifier:
    """1 when the pattern is there as wanted, else 0."""
    pattern = _chem().MolFromSmarts(config.smarts)

    def judge(mol: Any) -> tuple[float, bool | None, str | None]:
        good = mol.HasSubstructMatch(pattern) == config.wanted
        return float(good), good, None

    return _valued(judge)


@plugin(version="1", place="process")
def similarity(config: Similarity) -> Verifier:
    """Tanimoto similarity of Morgan fingerprints (radius 2, 2048 bits) to a molecule, 0 to 1."""
    from rdkit import DataStructs

    def judge(answer: Answer) -> Score:
        found = read(text(answer.value))
        value = DataStructs.TanimotoSimilarity(_fingerprint(found.canonical), _fingerprint(wanted(config, answer.item)))
        return Score(value, None, None, found.canonical)

    return each(judge)


@plugin(version="1", place="process")
def pains(config: Plain) -> Verifier:
    """1 unless a pattern of PAINS is found, which disturb assays (Baell and Holloway 2010)."""

    def judge(mol: Any) -> tuple[float, bool | None, str | None]:
        match = _catalog().GetFirstMatch(mol)
        return (1.0, True, None) if match is None else (0.0, False, match.GetDescription())

    return _valued(judge)


def wanted(config: Similarity, item: Item) -> str:
    """Canonical SMILES of the molecule to compare with."""
    return read(config.to if config.to is not None else text(item.target)).canonical


def read(written: str) -> Molecule:
    """The molecule. Raises Unreadable, which says why, for what is none."""
    if len(written) > LONGEST:
        raise Unreadable(f"the SMILES has {len(written)} characters; at most {LONGEST} are judged")
    found = _read(written)
    if isinstance(found, str):
        raise Unreadable(found)
    return found


@lru_cache(10_000)
def _read(written: str) -> Molecule | str:
    """The molecule, or why it is none: several verifiers ask for the same one."""
    if not written.strip():
        return "the molecule is empty"
    from rdkit import rdBase

    chem = _chem()
    with rdBase.BlockLogs():
        if (mol := chem.MolFromSmiles(written)) is None:
            raw = chem.MolFromSmiles(written, sanitize=False)
            problems = ["it is no SMILES"] if raw is None else [p.Message() for p in chem.DetectChemistryProblems(raw)]
            return f"RDKit cannot read it: {'; '.join(problems) or 'no reason given'}"[:300]
        return Molecule(mol, chem.MolToSmiles(mol)) if mol.GetNumAtoms() else "the molecule is empty"


@cache
def _chem() -> Any:
    from rdkit import Chem

    return Chem


def _valued(judge: Callable[[Any], tuple[float, bool | None, str | None]]) -> Verifier:
    """A verifier from a property of a molecule: value, verdict and reason."""

    def one(answer: Answer) -> Score:
        mol, canonical = read(text(answer.value))
        try:
            value, passed, reason = judge(mol)
        except (RuntimeError, ValueError) as error:  # RDKit's own, of molecules that it can read but not rate
            raise Unreadable(f"RDKit: {error}"[:300]) from None
        return Score(finite(value), passed, reason, canonical)

    return each(one)


def _within(name: str, found: float, window: Window) -> tuple[float, bool, str]:
    low, high = window.low, window.high
    away = max(0.0, 0.0 if low is None else low - found, 0.0 if high is None else found - high)
    return 0.0 - away, away == 0, f"{name} {found:.4g}"


@lru_cache(10_000)
def _fingerprint(canonical: str) -> Any:
    from rdkit.Chem import rdFingerprintGenerator

    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048).GetFingerprint(
        _chem().MolFromSmiles(canonical)
    )


@cache
def _catalog() -> Any:
    from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogParams

    return FilterCatalog(FilterCatalogParams(FilterCatalogParams.FilterCatalogs.PAINS))


@cache
def _sascorer() -> Any:
    return import_module("rdkit.Contrib.SA_Score.sascorer")
