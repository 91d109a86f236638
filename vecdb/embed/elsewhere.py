"""A node's view of an embedding worker that it did not start: `vecdb embed-worker`, elsewhere.

Answers what process.py does of a child: whether a worker answers at the address, and which models
it can use. One thread asks it every few seconds; who serves there, and starts it again, is not
known here. The texts travel unencrypted, unless embed.worker_ca_file says whom to trust.
"""

from __future__ import annotations

import logging
import random
import threading

from vecdb.config import EmbedConfig
from vecdb.embed import catalog
from vecdb.embed.channel import Description, WorkerChannel, WorkerState
from vecdb.embed.watched import OnChange, Watched
from vecdb.errors import DeadlineExceeded, InvalidArgument, Unavailable, VecdbError
from vecdb.sockets import is_loopback, split_address

log = logging.getLogger(__name__)

PROBE_INTERVAL_S = 2.0
PROBE_TIMEOUT_S = 5.0
PROBE_FAILURES = 3
BACKOFF_S = 0.2
BACKOFF_MAX_S = 5.0


class WorkerElsewhere(Watched):
    """The worker at ``embed.worker``, looked after between start() and stop().

    on_change: called with every new state, from the watching thread; must not block. A generation
    of its states is one connection that was made: to a new worker, or anew to the same.
    """

    def __init__(
        self,
        config: EmbedConfig,
        *,
        text_bytes: int,
        on_change: OnChange = lambda state: None,
        probe_interval_s: float = PROBE_INTERVAL_S,
        probe_timeout_s: float = PROBE_TIMEOUT_S,
    ) -> None:
        """Name the worker, without asking it. Raises InvalidArgument for what cannot be used."""
        unix = config.worker.startswith("unix:")
        host = "" if unix else split_address(config.worker)[0]
        if config.worker_key_file and not (unix or config.worker_ca_file or is_loopback(host)):
            raise InvalidArgument(
                f"embed.worker_key_file would go to {config.worker} in plain text",
                hint="give the worker tls.cert_file and tls.key_file, and this node "
                "embed.worker_ca_file",
            )
        super().__init__(on_change)
        self._config = config
        # Files that cannot be read are said at start, not when the first text comes.
        WorkerChannel(config.worker, text_bytes, config).close()
        self.address = config.worker
        self.pid = None
        self._enabled = config.enabled
        self._text_bytes = text_bytes
        self._probe_interval_s = probe_interval_s
        self._probe_timeout_s = probe_timeout_s
        specs = catalog.select(catalog.load_catalog(config.catalog), config.models, config.model)
        self._expected = {spec.name: catalog.fingerprint(spec) for spec in specs}
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # Guarded by _changed, too:
        self._instance = ""
        self._instances = 0
        self._generation = 0

    @property
    def restarts(self) -> int:
        """Return how often another worker was found at the address."""
        with self._changed:
            return max(0, self._instances - 1)

    def start(self) -> None:
        """Begin to ask for the worker, and return at once."""
        if not self._enabled:
            self._become(WorkerState(reason="embedding is switched off: embed.enabled is false"))
            return
        reason = f"the embedding worker at {self.address} was not reached yet"
        self._become(WorkerState(reason=reason, retry_after_s=1.0))
        self._thread = threading.Thread(target=self._look_after, name="embed-worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; the worker goes on."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._become(WorkerState(reason="this server is stopping", retry_after_s=BACKOFF_MAX_S))

    def _look_after(self) -> None:
        pause_s = BACKOFF_S
        while not self._stopping.is_set():
            # Anew each time: a channel that was refused waits by rules of its own.
            channel = WorkerChannel(self.address, self._text_bytes, self._config)
            try:
                answered = self._follow(channel, again_s=pause_s)
            except Exception:
                log.exception("asking the embedding worker at %s failed", self.address)
                answered = False
            finally:
                channel.close()
            if answered:
                pause_s = BACKOFF_S
            if self._stopping.wait(pause_s * random.uniform(0.5, 1.0)):
                return
            pause_s = min(2 * pause_s, BACKOFF_MAX_S)

    def _follow(self, channel: WorkerChannel, again_s: float) -> bool:
        """Return when the worker does not answer any more; whether it did."""
        missed, answered = 0, False
        while not self._stopping.is_set():
            try:
                found = channel.describe(self._probe_timeout_s)
            except DeadlineExceeded:
                missed += 1
                log.warning("the embedding worker at %s missed probe %d", self.address, missed)
                if not answered or missed >= PROBE_FAILURES:
                    self._away(f"does not answer within {self._probe_timeout_s:g} s", again_s)
                    return answered
                continue
            except Unavailable:
                self._away("cannot be reached", again_s)
                return answered
            except VecdbError as error:
                self._away(f"cannot be used: {error}", again_s)
                return answered
            missed = 0
            self._take(found, reconnected=not answered)
            answered = True
            self._stopping.wait(self._probe_interval_s)
        return answered

    def _take(self, found: Description, *, reconnected: bool) -> None:
        """Take what the worker says. reconnected: whether it is the first answer of a channel."""
        with self._changed:
            another = found.instance != self._instance
            self._instance = found.instance
            self._instances += another
            # Callers connect anew then: their connection may still wait out a refusal.
            self._generation += another or reconnected
            generation = self._generation
        models = self._reasons(found)
        before = self.state
        self._become(WorkerState(ready=True, reason="", generation=generation, models=models))
        if not before.ready:
            log.info("the embedding worker at %s answers", self.address)
        for name, reason in models.items():
            if reason and before.models.get(name) != reason:
                log.error("model %s cannot be used: %s", name, reason)

    def _reasons(self, found: Description) -> dict[str, str]:
        """Return, per model of this node, why it cannot be used, or ""."""
        reasons: dict[str, str] = {}
        for name, expected in self._expected.items():
            model = found.models.get(name)
            if model is None:
                reasons[name] = (
                    f"the embedding worker at {self.address} has no model {name} but "
                    f"{', '.join(found.models)}: add it to that worker's embed.models"
                )
            elif model.fingerprint != expected:
                reasons[name] = (
                    f"{name} of the embedding worker at {self.address} is "
                    f"{model.fingerprint[:12]}, this server's is {expected[:12]}: give both the "
                    "same catalogue and packages"
                )
            else:
                reasons[name] = model.reason
        return reasons

    def _away(self, why: str, again_s: float) -> None:
        reason = f"the embedding worker at {self.address} {why}"
        if self.state.reason != reason:
            log.warning("%s; it is asked again", reason)
        self._become(WorkerState(reason=reason, retry_after_s=again_s + 1.0))
