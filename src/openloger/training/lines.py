"""Lines for people about a run."""

from openloger.training.curriculum import Stage
from openloger.training.run_state import TrainingProgress
from openloger.training.validate import Scores

_SHOWN = (  # in the line for people
    "loss",
    "depth",
    "local",
    "rotation",
    "translation",
    "match",
    "top1",
    "log_depth",
    "gradient_norm",
    "frames_per_s",
)


def progress_line(done: TrainingProgress, stage: Stage, numbers: dict[str, float]) -> str:
    """One line for people."""
    parts = [f"{name} {numbers[name]:.3g}" for name in _SHOWN if name in numbers]
    return f"{stage.name} {done.step}/{stage.steps} ({done.seconds:.0f} s): {', '.join(parts)}"


def score_line(done: TrainingProgress, score: Scores) -> str:
    """One line for people: every number beside its guess."""
    return (
        f"held out at {done.frames} frames: AbsRel {score.abs_rel:.3f} ({score.abs_rel_of_guess:.2f} of guess), "
        f"rotation {score.rotation_deg:.2f}° ({score.rotation_of_guess:.2f} of guess), "
        f"direction {score.direction_deg:.0f}°, match {score.top1:.2f} ({score.guess_top1:.2f}), "
        f"path {100 * score.ate:.1f} % ({100 * score.guess_ate:.1f} % straight)"
    )
