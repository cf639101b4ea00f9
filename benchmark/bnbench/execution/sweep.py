"""A sweep: runs that are wanted, planned and brought to their end. Every command that trains, and Python, go this way.

It says what happens to a listener; it prints nothing and ends no process.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import cached_property
from pathlib import Path

from bnbench.components.variants import VARIANTS
from bnbench.errors import UserError
from bnbench.execution.components import parts_of
from bnbench.execution.executors import Executor
from bnbench.execution.listening import Listener, Notice, Outcome, bearing
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Room
from bnbench.execution.planning import SweepPlan, make_plan
from bnbench.execution.probe_memory import require_probe_memory
from bnbench.execution.selection import require_data
from bnbench.execution.signals import STOP_SIGNALS, StopRequest, stop_on
from bnbench.plan import RunSpec
from bnbench.plugins import require_unchanged
from bnbench.storage.processes import this_process
from bnbench.storage.repeating import forget_failure, start_afresh, tidy_result
from bnbench.storage.store import ResultStore, StoreContents
from bnbench.storage.sweeps import SweepRecord, tidy_sweeps, write_sweep
from bnbench.words import counted


class SweepInterrupted(KeyboardInterrupt):
    """A sweep was asked to stop. What is done is kept; the same sweep does the rest."""

    def __init__(self, outcomes: Sequence[Outcome], finished: int, total: int, exit_code: int) -> None:
        super().__init__(f"{finished} of {total} runs are finished and kept")
        self.outcomes = tuple(outcomes)
        """Of the runs that ended or were paused."""
        self.finished = finished
        self.total = total
        """Runs that were to be trained."""
        self.exit_code = exit_code
        """Of a command that is ended by this: 130 after Ctrl-C, as shells give it."""


class Sweep:
    """Runs that are wanted in a results folder.

    The folder is looked at once before anything is trained and once after; what was found is passed on.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        store: Path,
        options: RunOptions,
        executor: Executor,
        listener: Listener,
        *,
        command: str | None = None,
        stop: StopRequest | None = None,
        own_runs_only: bool = False,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            specs: the runs that are wanted.
            store: the results folder.
            options: how they are carried out.
            executor: who trains them.
            listener: told what happens.
            command: what goes on with the sweep, kept in the folder for `bnbench status`; None keeps nothing.
            stop: asks it to stop; None lets Ctrl-C and the signals of batch systems do so.
            own_runs_only: whether to leave everything else in the folder unseen, as one of many jobs on it should.
        """
        self.specs = tuple(specs)
        self.store = ResultStore(store)
        self.options = options
        self.executor = executor
        self._listener = bearing(listener)
        self._command = command
        self._stop = stop
        self._own_runs_only = own_runs_only
        self._contents: StoreContents | None = None
        self._record: Path | None = None

    @property
    def contents(self) -> StoreContents:
        """What the last look at the folder has found: before the training, or after it.

        Raises:
            UserError: the folder cannot be listed, or holds runs of another schema version only.
        """
        if self._contents is None:
            self._contents = self._look()
        return self._contents

    @cached_property
    def room(self) -> Room:
        """What the executor has for the runs.

        Raises:
            UserError: no such device.
        """
        return self.executor.room(self.options)

    def plan(self) -> SweepPlan:
        """The states of the runs, and what is to be done; made once. Writes nothing, starts nothing.

        Raises:
            UserError: the folder cannot be read, or the device does not exist.
        """
        return self._plan

    @cached_property
    def _plan(self) -> SweepPlan:
        return make_plan(self.specs, self.store, self.contents, self.options, self.room)

    def run(self) -> list[Outcome]:
        """Bring every run to its end.

        Returns:
            How the runs ended that were to be trained, in the order in which they did.

        Raises:
            UserError: something is wrong that can be told before anything is written; or the folder cannot be written.
            SweepInterrupted: it was asked to stop.
        """
        require_data(self.specs)
        require_unchanged(self.options.plugins)
        self._require_components()
        if not {spec.run_id for spec in self.specs} <= self.contents.ended:
            self.executor.warm_up()
        plan = self.plan()
        self._require_same_plugins(plan)
        require_probe_memory(plan.todo, self.options.probe_memory)
        self._listener.planned(plan)
        if not plan.todo:
            ended = "The run has" if len(plan.runs) == 1 else f"All {len(plan.runs)} runs have"
            self._listener.notice(Notice(f"{ended} ended already; nothing to train."))
            return []
        chosen = self.executor.choose(plan, self.room, self.store.path, self.options, self._listener)
        if not chosen:
            return []
        # Only now: a mistake leaves no folder behind.
        self.store.make()
        self._clear_the_way(plan)
        if self.executor.sends_away:
            return self.executor.run_all(chosen, self.store.path, self.options, self._listener, StopRequest())
        self._announce(plan, min(plan.side_by_side, len(chosen)))
        outcomes: list[Outcome] = []
        own_stop = stop_on((signal.SIGINT, *STOP_SIGNALS)) if self._stop is None else nullcontext(self._stop)
        with own_stop as stop:
            self._listener.begins(chosen)
            try:
                outcomes = self.executor.run_all(chosen, self.store.path, self.options, self._listener, stop)
            except KeyboardInterrupt:
                # The second Ctrl-C: what ran was killed, and goes on from its last checkpoint another time.
                if not stop():
                    raise
            finally:
                self._listener.ends()
        self._look_after(chosen, outcomes, stop)
        return outcomes

    def withdraw(self) -> None:
        """Take back what was put on record: the process that is named there goes on, and with something else."""
        if self._record is not None:
            with suppress(OSError):
                self._record.unlink(missing_ok=True)

    def _look_after(self, chosen: Sequence[RunSpec], outcomes: Sequence[Outcome], stop: StopRequest) -> None:
        self._contents = self._look()
        if not self._own_runs_only:
            with suppress(UserError):  # what cannot be removed says nothing wrong: its runs have ended
                tidy_sweeps(self.store.path, self._contents.ended)
        if stop():
            own = {spec.run_id for spec in chosen}
            finished = sum(document.run_id in own for document in self._contents.finished)
            raise SweepInterrupted(outcomes, finished, len(chosen), stop.exit_code)

    def _require_components(self) -> None:
        """Refuse rows whose code no other process has. A variant has none: its row travels with the run."""
        if self.executor.in_this_process:
            return
        for spec in self.specs:
            for registry, name in parts_of(spec):
                if registry is not VARIANTS and registry.is_of_session(name):
                    raise UserError(
                        f"{registry.kind} '{name}' was registered in this session, and other processes do not know its "
                        "code",
                        hint="Train in this process (workers=0), or put it into a file of its own: "
                        "plugins=[…] in Python, --plugin on the command line (docs/plugins.md).",
                    )

    def _require_same_plugins(self, plan: SweepPlan) -> None:
        """Refuse to go on where a run that is wanted was made, or begun, with another state of a plug-in."""
        for part in plan.changed_parts:
            unless = "" if part.ended else ", or --fresh to begin it anew"
            raise UserError(
                part.in_words,
                hint="If its numbers changed, raise the row's revision: its runs get ids of their own, and are "
                f"trained. If not, --plugin-changed keep goes on with the runs that there are{unless}.",
            )

    def _look(self) -> StoreContents:
        if not self._own_runs_only:
            return self.store.look()
        return self.store.look({spec.run_id for spec in self.specs if spec.data.fingerprint is not None})

    def _announce(self, plan: SweepPlan, side_by_side: int) -> None:
        if self._command is not None:
            self._put_on_record(self._command, plan, side_by_side)
        skipped = f" ({len(plan.ended)} of {len(plan.runs)} are finished already)" if plan.ended else ""
        how = "one after another in this process" if self.executor.in_this_process else f"{side_by_side} side by side"
        text = (
            f"{counted(len(plan.todo), 'run')} to train{skipped}, {how} on {self.room.in_words(self.options)}, "
            f"{counted(self.options.threads, 'CPU thread')} each"
        )
        self._listener.notice(Notice(text))

    def _put_on_record(self, command: str, plan: SweepPlan, side_by_side: int) -> None:
        """Let `bnbench status` know what is to come. A sweep does without, if the record cannot be written."""
        runs = plan.swept
        record = SweepRecord(command=command, process=this_process(), side_by_side=side_by_side, runs=runs)
        try:
            tidy_sweeps(self.store.path, self.contents.ended, superseding={run.run_id for run in runs})
            self._record = write_sweep(self.store.path, record)
        except UserError as error:
            self._listener.notice(Notice(f"`bnbench status` will not know what is to come: {error}", warning=True))

    def _clear_the_way(self, plan: SweepPlan) -> None:
        """Forget failures that are to be tried again, throw away progress that is not wanted, tidy up after kills."""
        for run in plan.runs:
            if run.state is None:
                continue
            folder = self.store.run_folder(run.spec.run_id)
            if run.state.name == "failed" and self.options.retry_failed:
                forget_failure(folder)
            if run.to_train and self.options.fresh:
                start_afresh(folder)
            if run.state.name in {"finished", "diverged"}:
                tidy_result(folder)
