"""The one loop of the networks whose best step is the one that spots most on faces that they were never trained on.

That is told by the F1 of whole events: the loss falls for long after it has stopped to rise. The loop can be killed at
any moment and goes on where it was.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from livespot.training.runs import Log, Run, schedule
from livespot.training.settings import LearningSettings

REPORT_EVERY = 50
UNKNOWN: Mapping[str, float] = MappingProxyType({"best_f1": -1.0, "best_step": 0.0})
"""The figures of a run that was not validated yet."""


def learn(
    run: Run,
    settings: LearningSettings,
    out: Path,
    first: int,
    known: Mapping[str, float],
    loss: Callable[[int], Tensor],
    validate: Callable[[], dict[str, float]],
) -> Path:
    """Go on from step `first`, of which the figures `known` are, to the end; returns the checkpoint `out`/best.pt.

    Without known figures the run is validated as it begins: what has learnt nothing may be the best.
    `loss` is of a step by its number, `validate` tells "f1" among other figures. Progress goes to the screen, to
    `out`/metrics.jsonl and, for TensorBoard, to `out`/curves.
    """
    metrics, saved_s = {**UNKNOWN, **known}, time.monotonic()

    def judge(done: int) -> None:
        found = validate()
        log.tell(done, found)
        metrics.update(found)
        if found["f1"] > metrics["best_f1"]:
            metrics.update(best_f1=found["f1"], best_step=float(done))
            run.checkpoint(done, metrics).save(out / "best.pt")

    with Log(out, first, settings.steps) as log:
        if not known:
            judge(first)
            run.checkpoint(first, metrics).save(out / "checkpoint.pt")
        for step in range(first, settings.steps):
            if step - metrics["best_step"] >= settings.patience * settings.validate_every:
                break
            torch.manual_seed(settings.seed * settings.steps + step)
            for group in run.optimiser.param_groups:
                group["lr"] = settings.learning_rate * schedule(step, settings)
            lost = loss(step)
            run.optimiser.zero_grad()
            torch.autograd.backward(lost)
            torch.nn.utils.clip_grad_norm_(run.net.parameters(), settings.gradient_norm)
            run.optimiser.step()

            done = step + 1
            if done % REPORT_EVERY == 0:
                log.tell(done, {"loss": lost.item()})
            if validates := done % settings.validate_every == 0 or done == settings.steps:
                judge(done)
            if validates or time.monotonic() - saved_s > settings.checkpoint_every_s:
                run.checkpoint(done, metrics).save(out / "checkpoint.pt")
                saved_s = time.monotonic()
    return out / "best.pt"
