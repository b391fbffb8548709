"""What the way to an answer says of it, whatever the answer is."""

from search.plugins import plugin
from search.ports import Answer, Config, Score, Verifier
from verifiers.each import Unreadable, each


class Trajectory(Config):
    """No settings: the model's `watch` says which part of the trajectory counts."""


@plugin(version="1", needs=("trajectory",))
def trajectory_variance(config: Trajectory) -> Verifier:
    """Minus the variance of x0-hat over the last part of the trajectory (Aithal et al. 2024, arXiv 2406.09358)."""

    def judge(answer: Answer) -> Score:
        if (variance := answer.trajectory_variance) is None:
            raise Unreadable("nothing is known of the answer's trajectory: its model keeps no variance of x0-hat")
        if variance < 0:  # UNSAID
            raise Unreadable("the trajectory has fewer than two evaluations in the part that is watched")
        return Score(-variance)

    return each(judge)
