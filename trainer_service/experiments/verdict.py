"""The verdict of an experiment: one sentence, derived by fixed rules from the pooled differences of
the primary figure. This is the test loss; for a test function, which has no test split, it is the
function's value.

The subject *helps* only if the whole interval lies below zero against every arm that could explain
its gain otherwise: the plain arm, every arm with random tokens, the strongest LLM-free control, and
every arm with shuffled scores. It *harms* if the whole interval against the plain arm lies above
zero. In all other cases the verdict says that no effect is shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mentorgrad.domain.experiment import Arm, Estimate, ExperimentSpec, Figure, Health

FEW_SEEDS = 10
"""With fewer seeds, the verdict carries a caveat."""
RANDOM_TOKENS = "random_tokens"
"""Mentor name of arms that restart from random words."""
MENTOR = "the mentor"
"""Name of a subject whose proposals come from an LLM; other subjects have their arm's name."""


@dataclass(frozen=True)
class Facts:
    """Input of a verdict."""

    spec: ExperimentSpec
    """The experiment's spec."""
    complete: bool
    """Whether all runs have ended."""
    plain: str
    """The arm of plain training; empty: there is none."""
    strongest_control: str
    """The strongest LLM-free control; empty: there is none."""
    restarted: bool
    """Whether any run of the subject restarted."""
    figure: Figure
    """The primary figure, a loss."""
    pooled: Mapping[str, Estimate]
    """Maps another arm to the subject's pooled difference of that figure, if there is a pair."""
    health: Sequence[Health]
    """Whether plain training works, per task and variation."""
    better_baselines: Mapping[str, Sequence[str]]
    """Maps a baseline to the tasks on which its test loss is below that of every arm, if any."""
    failed: int
    """Runs of all arms that ended without a result."""
    diverged: Mapping[str, int]
    """Maps an arm to its number of runs whose primary figure is NaN or infinite."""


def verdict(facts: Facts) -> str:
    """One sentence: the claim, its figures, and its caveats."""
    rivals = _rivals(facts)
    sentence = _claim(facts, rivals)
    known = [
        # the role of an arm is named only once
        f"{_named(name) if _title(facts, name) in sentence else _title(facts, name)} "
        f"{_figures(facts.pooled[name])}"
        for name in rivals
        if name in facts.pooled
    ]
    if known:
        figures = "; ".join(known)
        sentence += f" (pooled difference of {_loss(facts)}, 95% interval: {figures})"
    caveats = _caveats(facts)
    if caveats:
        sentence += f"; but {', and '.join(caveats)}"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _subject(facts: Facts) -> Arm:
    return next(arm for arm in facts.spec.arms if arm.name == facts.spec.subject_arm)


def _who(facts: Facts) -> str:
    subject = _subject(facts)
    is_mentor = not subject.mentor.is_control and not subject.mentor.shuffled
    return MENTOR if is_mentor else f"`{subject.name}`"


def _loss(facts: Facts) -> str:
    return facts.figure.value.replace("_", " ")


def _rivals(facts: Facts) -> list[str]:
    """The arms that the subject must beat, in the order of the sentence."""
    asked = facts.spec.subject_arm
    names = [facts.plain, facts.strongest_control]
    names += [arm.name for arm in facts.spec.arms if arm.mentor.name == RANDOM_TOKENS]
    names += [arm.name for arm in facts.spec.arms if arm.mentor.shuffled]
    return [name for name in dict.fromkeys(names) if name and name != asked]


# -- the claim --------------------------------------------------------------------------------


def _claim(facts: Facts, rivals: Sequence[str]) -> str:
    """What the figures show about the subject."""
    who = _who(facts)
    unknown = _unknown(facts, rivals)
    if unknown:
        return f"whether {who} helps is not known: {unknown}"
    unbeaten = [name for name in rivals if not _is_lower(facts.pooled[name])]
    if _is_higher(facts.pooled[facts.plain]):
        claim = f"{who} harms: its {_loss(facts)} is higher than plain training's"
    elif facts.plain in unbeaten:
        claim = f"{who} adds nothing here: no gain over plain training is shown"
    elif unbeaten:
        claim = _gain_explained(facts, unbeaten)
    else:
        claim = _unmatched(facts, rivals)
    return claim if facts.complete else f"so far {claim}"


def _unknown(facts: Facts, rivals: Sequence[str]) -> str:
    """Why no claim can be made; empty: one can be made."""
    if facts.plain not in rivals:
        return "there is no plain arm (mentor `none`, without changes) to compare it with"
    missing = [name for name in rivals if name not in facts.pooled]
    if missing:
        return f"no pair of runs with {_listed(facts, missing)} has a {_loss(facts)}"
    if any(not math.isfinite(facts.pooled[name].low) for name in rivals):
        return "one seed per task gives no confidence interval"
    return ""


def _unmatched(facts: Facts, rivals: Sequence[str]) -> str:
    """The claim if the subject beats all other arms."""
    who = _who(facts)
    if facts.diverged.get(facts.spec.subject_arm, 0):
        return f"{who} cannot be said to help: some of its runs diverged"
    if who == MENTOR and not facts.strongest_control:
        return f"whether {who} helps is not known: there is no LLM-free control with restarts"
    return f"{who} helps: its {_loss(facts)} is lower than that of {_listed(facts, rivals)}"


def _gain_explained(facts: Facts, unbeaten: Sequence[str]) -> str:
    """The claim if the subject beats plain training, but not every other arm."""
    worse = [name for name in unbeaten if _is_higher(facts.pooled[name])]
    gain = "restarts help" if facts.restarted else f"{_who(facts)} beats plain training"
    words = "the mentor's words add" if _who(facts) == MENTOR else f"{_who(facts)} adds"
    if worse:
        return f"{gain}, but {words} nothing: {_listed(facts, worse)} did better"
    return f"{gain}, but {words} nothing over {_listed(facts, unbeaten)}"


def _is_lower(difference: Estimate) -> bool:
    return difference.high < 0


def _is_higher(difference: Estimate) -> bool:
    return difference.low > 0


# -- words ------------------------------------------------------------------------------------


def _listed(facts: Facts, names: Sequence[str]) -> str:
    """``a, b and c``, with the roles of the arms."""
    titles = [_title(facts, name) for name in names]
    return " and ".join(filter(None, [", ".join(titles[:-1]), titles[-1]]))


def _title(facts: Facts, name: str) -> str:
    if name == facts.plain:
        return f"plain training {_named(name)}"
    if name == facts.strongest_control:
        return f"the strongest LLM-free control {_named(name)}"
    return _named(name)


def _named(name: str) -> str:
    return f"`{name}`"


def _figures(found: Estimate) -> str:
    if not math.isfinite(found.low):
        return f"{found.mean:+.4f}"
    return f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})".replace("-", "−")


def _caveats(facts: Facts) -> list[str]:
    """The caveats of the verdict."""
    found = []
    if not facts.complete:
        found.append("not all runs have ended")
    seeds = len(facts.spec.seeds)
    if seeds < FEW_SEEDS:
        found.append(f"only {seeds} seed{'s were' if seeds > 1 else ' was'} run")
    if not any(arm.mentor.shuffled for arm in facts.spec.arms) and _who(facts) == MENTOR:
        found.append("no `shuffled` arm tests whether the scores matter")
    sick = list(dict.fromkeys(item.task for item in facts.health if not item.healthy))
    if sick:
        names = ", ".join(f"`{name}`" for name in sick)
        found.append(f"plain training does not beat the most frequent class on {names}")
    for name, tasks in facts.better_baselines.items():
        places = ", ".join(map(_named, tasks))
        found.append(
            f"the baseline {_named(name)} has a lower test loss than every arm on {places}"
        )
    if sum(facts.diverged.values()):
        found.append(
            f"{_runs(sum(facts.diverged.values()))} diverged and are excluded from the means"
        )
    if facts.failed:
        found.append(f"{_runs(facts.failed)} ended without a result")
    return found


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"
