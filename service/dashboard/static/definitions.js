// What each number and heading means: shown when it is pointed at or focused, and read out by a screen reader.
export const DEFINITIONS = {
  coverage:
    "Share of items with at least one right answer among k samples (pass@k), unbiased over all subsets of k that the job drew.",
  selected:
    "Share of items where the one answer that the verifier likes best among k is right. What a user of this service would get.",
  majority: "Share of items where the most frequent answer among k is right (maj@k); ties are broken evenly.",
  "verifier gap":
    "Coverage less selected: items for which a right answer was drawn, but the verifier picked a wrong one. A better verifier closes it; more samples do not.",
  k: "Samples drawn for an item.",
  budget: "What is spent on one item: k samples, in the currency chosen.",
  "interval set":
    "Where the curve would lie for another set of items like these, with this confidence at each k. It contains the noise of sampling.",
  "interval exact": "Where the curve would lie for exactly these items, were all their answers drawn again.",
  "interval band":
    "A band that contains the whole curve, at all k together, with this confidence, for another set of items like these. Wider than the intervals at each k.",
  level: "Confidence of the intervals.",
  beyond:
    "What three models say of more samples than were drawn: their range, not an interval. The truth may lie outside.",
  floor: "Coverage at the largest k that was drawn. More samples cannot have less, whatever model one believes.",
  dimmed:
    "Where k is more than half of the samples drawn, few independent subsets are left and the estimate is less sure.",
  draws: "Mean number of samples when one stops at the first right answer, and at k at the latest.",
  right: "Draw until the verifier accepts, at most k times: share of items whose returned answer is right.",
  wrong:
    "Draw until the verifier accepts, at most k times: share of items whose returned answer is wrong. With more draws it grows towards the verifier's share of false positives.",
  abstain: "Share of items for which the verifier accepted none of k answers, so that nothing is returned.",
  judge:
    "Whose passes count as right: a grader's, which the search never saw, or the verifier's own when there is none.",
  verifier: "Steers the search and picks the answer. It may be wrong; the grader says how often.",
  grader: "Reports on answers. The search never sees it, so its verdict is not fooled by the search.",
  front: "Answers that no other answer beats: none is at least as good under every verifier and better under one.",
  unscored:
    "Answers without a verdict, with a reason. They count as failures on the curve and are never dropped silently.",
  ignored:
    "Coverage if answers without a verdict are left out instead of counted as failures: the upper of both bounds.",
  estimator:
    "pool: unbiased over all subsets of k answers. prefix: the first k draws, used where drawing stops at a pass. population: over all subsets of whole populations; a part of one is not what a smaller search would have found.",
  state: "queued, in progress, cancelling, or ended: completed, failed, cancelled, expired.",
  extended: "How often the job was let go on after an end, with more samples or a larger budget. Times and counts are of all runs.",
  progress: "Shards done of all. A shard is the piece of a job that one worker computes at a time.",
  items: "Prompts or problems of the job.",
  failed: "Items for which no answer could be drawn.",
  candidates: "Answers drawn.",
  evaluations: "Evaluations of the model's network, for each row and guidance branch.",
  tokens: "Tokens generated, as far as the model's server reported them.",
  unreported: "Answers whose tokens nobody reported. They are in no count of tokens, which are therefore too few.",
  lost: "Answers that could not be had, such as of an endpoint that was down. They are on no curve.",
  previews: "Unfinished answers that were decoded so that a verifier could score them.",
  "verifier calls": "Answers and previews scored, for each verifier.",
  "verifier seconds": "Seconds spent in verifiers: each answer's share of the calls it was in.",
  seconds: "Wall-clock seconds from the first shard to the end, or until now.",
  cost: "Price of a sample by the prices you enter: evaluations, verifier seconds and seconds, each times its price.",
  unspent: "What is left of the job's limit in this currency.",
  seed: "The key of an answer's row: with the job's model and item it names all its noise, so the answer can be drawn again.",
  score: "What the judge gave this answer; an unscored answer says why.",
  weight: "Log weight of the answer among all of its item's answers; not normalised.",
  drawn: "Answers drawn for this item.",
  genealogy:
    "Each line joins a particle to its parent at a resampling. Strong lines lead to an answer; faint ones died out.",
  ess: "Effective sample size: how many equally weighted particles these weights are worth.",
  ancestors: "Distinct particles of the first generation from which an answer descends.",
  "log z": "Estimate of the logarithm of the target's normalising constant; exp of it is unbiased.",
  difference: "Share of items passed here less that of the control, item by item, with a paired interval.",
  control:
    "The job with which the others are compared: best-of-n at equal evaluations where there is one, else the first.",
  ratio: "Evaluations of an item here, as a multiple of the control's.",
  passed: "Share of items whose returned answer passes; unscored items count as failures.",
  "only here": "Items that pass here and not in the control, against items that pass only in the control.",
  advice:
    "Sentences drawn from this job's numbers by fixed rules, each with its assumption. Nothing here is guessed by a language model.",
  value: "What a right answer is worth, in any unit.",
  loss: "What returning a wrong answer costs, in the same unit.",
  "sample cost": "What one sample costs, in the same unit.",
  target: "The coverage you would like to reach.",
  "rows per second": "Rows of network calls a second, over all workers, in the last ten seconds.",
  fill: "Mean rows of a network call over the rows it may hold: how full batches are.",
  "queue depth": "Shards in the queue, waiting or in workers' hands.",
  "dead letters": "Shards that failed, or whose worker died too often. Their job goes on without them.",
  worker: "A process that draws and judges. One that is silent for eight seconds is no longer listed.",
  resident: "Memory of the worker's process.",
  programs:
    "The walls that programs run behind here: strict (namespaces, a root of their own), lite (fewer), or refuse (none run). A verdict on a program ends with its tier.",
  card: "What a verifier is, and how often it is right by audits of its answers.",
};
