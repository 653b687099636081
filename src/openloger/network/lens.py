"""The memory of the lens: one focal length a video, which its windows measure together.

The pictures of one window determine a focal length badly where the camera hardly turns, and rotations err by the same
part as it does. A video has one lens, so its log focal length is carried from window to window as a mean and a
variance: a Kalman filter (R. E. Kalman, 1960). Its first mean is the network's guess, later guesses count little, as
they err alike, and what the flow of a window tells (`motion.GeometricCameras.focal_information`) is added with its
variance. An innovation that is too large is cut, as a window whose matches are wrong is sure of its focal length, too;
the variance grows instead of getting less, so that a lens that was really changed is followed within some windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from openloger.shapes import Float, Tensor

GUESS_SIGMA = 0.2  # of the log focal length that the network predicts for the first window
GUESS_SIGMA_AGAIN = 0.6  # and for later ones
MOST_GUESS_STEP = 0.3  # from what is expected to a later guess
DRIFT_SIGMA = 0.005  # from window to window: lenses breathe, and whoever zooms slowly is followed
LEAST_FLOW_SIGMA = 0.02  # of what the flow of one window tells, however sure it is
MOST_INNOVATION = 3.0  # in its standard deviation
DOUBT = 4.0  # what the variance is multiplied by after a larger one


@dataclass(frozen=True, eq=False)
class LensBelief:
    """The logarithm of the focal length in pixels is N(mean, variance)."""

    mean: Float[Tensor, " batch"]
    variance: Float[Tensor, " batch"]

    @staticmethod
    def of_window(guess_px: Float[Tensor, " batch"], carried: Float[Tensor, "batch 2"] | None) -> LensBelief:
        """Before a window is measured: by the network's guess for it and by the windows before (`carry`)."""
        guess = guess_px.log()
        if carried is None:
            return LensBelief(guess, torch.full_like(guess, GUESS_SIGMA**2))
        mean, variance = carried.unbind(1)
        variance = variance + DRIFT_SIGMA**2
        gain = variance / (variance + GUESS_SIGMA_AGAIN**2)
        step = (guess - mean).clamp(-MOST_GUESS_STEP, MOST_GUESS_STEP)
        return LensBelief(mean + gain * step, variance * (1 - gain))

    def measured(self, log_factor: Float[Tensor, " batch"], information: Float[Tensor, " batch"]) -> LensBelief:
        """After a window whose adjustment, with this belief as its prior, moved the focal length by `log_factor`.

        `information` is the inverse variance that flow alone gives it; 0 leaves the belief as it is.
        """
        seen = 1 / information.clamp_min(1e-6)
        innovation = log_factor * (self.variance + seen) / self.variance  # the adjustment's gain, undone
        variance = seen.clamp_min(LEAST_FLOW_SIGMA**2)
        most = MOST_INNOVATION * (self.variance + variance).sqrt()
        gain = self.variance / (self.variance + variance)
        after = torch.where(innovation.abs() > most, DOUBT * self.variance, (1 - gain) * self.variance)
        return LensBelief(self.mean + gain * innovation.clamp(-most, most), after)

    def carry(self) -> Float[Tensor, "batch 2"]:
        """As `VideoMemory.log_focal` keeps it."""
        return torch.stack([self.mean, self.variance], 1)
