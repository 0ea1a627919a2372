"""Prometheus metrics of the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service_common.metrics import ANSWER_BUCKETS
from trainer_service.worker_metrics import WorkerMetrics

_LAG_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0)


class TrainerMetrics:
    """Sums up the workers' reports. All methods are called on the service's event loop.

    Args:
        registry: Registry of the metrics; at most one instance per registry.
        devices: Devices that runs are executed on.
    """

    def __init__(self, registry: CollectorRegistry, devices: tuple[str, ...]) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"mentorgrad_trainer_{name}", meaning, labels, registry=registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"mentorgrad_trainer_{name}", meaning, labels, registry=registry)

        self._workers = gauge("workers", "Workers that execute a run.")
        self._slots = gauge("worker_slots", "Maximum number of runs executed at once.")
        self._ended = counter("workers_ended", "Ended workers, by exit code.", "code")
        self._steps = counter("steps", "Gradient steps in stages and in races.", "kind")
        self._evaluations = counter("evaluations", "Parameters scored on the selection split.")
        self._restarts = counter("restarts", "Restarts from a proposal.")
        self._usable = counter("usable_answers", "Answers with a proposal that could be scored.")
        self._fallbacks = counter("fallbacks", "Answers of the fallback instead of the mentor.")
        self._tokens = counter("tokens", "LLM tokens of questions and replies.", "kind")
        self._answers = Histogram(
            "mentorgrad_trainer_mentor_answer_seconds",
            "Time from a mentor request to its answer or failure.",
            ("mentor", "status"),
            buckets=ANSWER_BUCKETS,
            registry=registry,
        )
        self._lags = Histogram(
            "mentorgrad_trainer_store_lag_seconds",
            "Time from an event until it is stored; for each write, of its oldest event.",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self._waiting = gauge(
            "store_waiting_seconds", "Time that the longest write in progress has taken so far."
        )
        self._busy = counter(
            "device_busy_seconds", "Time in which a worker computed on the device.", "device"
        )
        self._idle = gauge(
            "device_idle_share",
            "Share of the last second in which no worker computed; 1 without a worker.",
            "device",
        )
        self._shares: dict[str, dict[str, float]] = {device: {} for device in devices}
        self._waits: dict[str, float] = {}
        for device in devices:
            self._idle.labels(device).set(1)
            self._busy.labels(device)
        # A rate is known of counts that began at 0; other exit codes are rare.
        for code in ("0", "1"):
            self._ended.labels(code)
        for kind in ("stage", "probe"):
            self._steps.labels(kind)
        for kind in ("prompt", "reply"):
            self._tokens.labels(kind)

    def watch_slots(self, workers: Callable[[], int], slots: int) -> None:
        """Exports the number of workers (`workers`, read at each scrape) and of slots."""
        self._workers.set_function(workers)
        self._slots.set(slots)

    def take(self, run_id: str, devices: Sequence[str], report: WorkerMetrics) -> None:
        """Adds a worker's report."""
        self._steps.labels("stage").inc(report.steps)
        self._steps.labels("probe").inc(report.probe_steps)
        self._evaluations.inc(report.evaluations)
        self._restarts.inc(report.restarts)
        self._usable.inc(report.usable_answers)
        self._fallbacks.inc(report.fallbacks)
        self._tokens.labels("prompt").inc(report.prompt_tokens)
        self._tokens.labels("reply").inc(report.reply_tokens)
        for answer in report.answers:
            self._answers.labels(answer.mentor, answer.status).observe(answer.seconds)
        for lag in report.store_lags:
            self._lags.observe(lag)
        busy = max(report.seconds - report.idle, 0.0)
        for device in set(devices):
            self._busy.labels(device).inc(busy)
            self._shares[device][run_id] = busy / report.seconds if report.seconds > 0 else 0.0
        self._waits[run_id] = report.store_waiting
        self._show(devices)

    def ended(self, run_id: str, devices: Sequence[str], code: int) -> None:
        """Counts a worker that ended with exit code `code`."""
        self._ended.labels(str(code)).inc()
        for device in devices:
            self._shares[device].pop(run_id, None)
        self._waits.pop(run_id, None)
        self._show(devices)

    def _show(self, devices: Sequence[str]) -> None:
        """Updates the gauges that depend on all present workers."""
        for device in devices:
            self._idle.labels(device).set(max(0.0, 1.0 - sum(self._shares[device].values())))
        self._waiting.set(max(self._waits.values(), default=0.0))
