"""The suite for a Storage."""

from __future__ import annotations

import unittest
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from dotflow import Config, DotFlow, action
from dotflow.abc.storage import Storage, StorageUnsupported, run_key
from dotflow.errors import StorageError
from dotflow.model.context import Context
from dotflow.model.task import Task
from dotflow.testing.contracts.base import ProviderContract, check, fail, same, together
from dotflow.testing.contracts.killing import Killed, numbered, step_of
from dotflow.testing.contracts.values import KEYS, PLAIN, RICH, UNKEEPABLE, exactly
from dotflow.testing.contracts.workloads import EXECUTORS, run_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.model.run import Run

__all__ = ["StorageContract"]

_BIG = 5_000_000  # bytes
_WHEN = datetime(2026, 11, 23, 1, 2, 3, 456_789, tzinfo=timezone.utc)


class StorageContract(ProviderContract[Storage]):
    """What a Storage promises. `make_provider` is yours to write, and what follows may be.

    Within one test, `make_provider` gives instances over the same place, as several processes have them; that place is empty
    when the test begins. `may_refuse = True` says that the storage refuses values that plain JSON cannot say, which it may.
    """

    may_refuse = False

    def source(self) -> str:
        """Python statements that make the same storage, as `storage`, in another process. Without it, nothing is killed."""
        raise unittest.SkipTest("source() would say how another process makes this storage")

    def damage(self, provider: Storage, key: str, change: Callable[[bytes], bytes]) -> None:
        """Change the raw bytes that are kept under `key`, behind the storage's back. Without it, nothing is damaged."""
        del provider, key, change
        raise unittest.SkipTest("damage() would say how what is kept can be changed")

    # --- values

    def test_an_absent_key_gives_an_empty_context(self) -> None:
        """Not an error, not None."""
        with self.provider() as storage:
            for key in ("w:never", *KEYS):
                found = storage.get(key)
                check(isinstance(found, Context), f"get() gave {found!r} for an absent key")
                check(found.is_empty, f"get() gave {found!r} for the absent key {key!r}")

    def test_plain_values_come_back(self) -> None:
        """Everything that JSON says by itself, with its types."""
        with self.provider() as storage:
            for number, value in enumerate(PLAIN):
                storage.post(f"w:{number}", Context(value, task_id=str(number), workflow_id="w"))
            for number, value in enumerate(PLAIN):
                same(exactly(storage.get(f"w:{number}").storage), exactly(value), "a value that came back")

    def test_rich_values_come_back_or_are_refused(self) -> None:
        """With their types. Nothing is silently changed."""
        with self.provider() as storage:
            for value in RICH:
                found = self._kept_or_refused(storage, value)
                if found is not None:
                    same(exactly(found.storage), exactly(value), "a value that came back")
                else:
                    check(self.may_refuse, f"post() refused {value!r}; may_refuse = True says that it may")

    def test_what_cannot_be_kept_is_refused_and_leaves_the_old(self) -> None:
        """A storage in memory may keep the object itself."""
        with self.provider() as storage:
            for value in UNKEEPABLE:
                storage.post("w:a", Context("old", task_id="a", workflow_id="w"))
                try:
                    storage.post("w:a", Context(value, task_id="a", workflow_id="w"))
                except Exception:  # noqa: BLE001 - what it raises is its choice
                    same(storage.get("w:a").storage, "old", "what is kept after a post() that failed")
                else:
                    check(storage.get("w:a").storage is value, f"{value!r} was kept as {storage.get('w:a').storage!r}")

    def test_ids_and_time_come_back(self) -> None:
        """To the microsecond, and None as None."""
        with self.provider() as storage:
            for made in (Context(1, task_id="a", workflow_id="w", time=_WHEN), Context(1)):
                storage.post("w:a", made)
                same(exactly(storage.get("w:a")), exactly(made), "the context that came back")

    def test_the_result_none_is_a_result(self) -> None:
        """A task may return nothing; it has finished all the same."""
        with self.provider() as storage:
            storage.post("w:a", Context(None, task_id="a", workflow_id="w", time=_WHEN))
            check(not storage.get("w:a").is_empty, "the result None was read as an absent one")

    def test_the_latest_post_wins(self) -> None:
        """Longer and shorter ones, over each other."""
        with self.provider() as storage:
            for value in ("x" * 1000, "", "xyz", None, [1]):
                storage.post("w:a", Context(value, task_id="a", workflow_id="w"))
                same(storage.get("w:a").storage, value, "the latest value")

    def test_five_megabytes_come_back(self) -> None:
        """In one piece."""
        with self.provider() as storage:
            value = {"rows": ["0123456789" * 100] * (_BIG // 1000)}
            storage.post("w:big", Context(value, task_id="big", workflow_id="w"))
            check(storage.get("w:big").storage == value, "five megabytes came back changed")

    # --- keys

    def test_any_key_has_a_place_of_its_own(self) -> None:
        """Unicode, slashes, `..`, a thousand characters, keys that differ by case only."""
        with self.provider() as storage:
            for key in KEYS:
                storage.post(key, Context({"key": key} if key.isprintable() else repr(key), task_id="t"))
            for key in KEYS:
                expected = {"key": key} if key.isprintable() else repr(key)
                same(storage.get(key).storage, expected, f"what is kept under {key!r}")

    def test_keys_are_stable_and_differ(self) -> None:
        """The same for the same task of the same workflow, and for no other."""
        with self.provider() as storage, self.provider() as other:
            tasks = [Task(_step, task_id=task, workflow_id=flow) for flow in ("w", "v") for task in ("a", "a-2")]
            keys = [storage.key(task) for task in tasks]
            same(len(set(keys)), len(tasks), f"how many of the keys {keys!r} differ")
            same([other.key(task) for task in tasks], keys, "the keys of another instance")

    # --- several at once

    def test_threads_may_post_at_once(self) -> None:
        """Different keys, and one key: then one of them wins, whole."""
        with self.provider() as storage:

            def write(number: int) -> None:
                for turn in range(5):
                    storage.post(f"w:{number}-{turn}", Context([number, turn], task_id="t", workflow_id="w"))
                    storage.post("w:same", Context([number] * 2000, task_id="same", workflow_id="w"))
                    found = storage.get("w:same").storage
                    check(found == [found[0]] * 2000, "a part of one context and a part of another were read")

            together([lambda number=number: write(number) for number in range(4)])  # type: ignore[misc]
            kept = {
                (number, turn): storage.get(f"w:{number}-{turn}").storage for number in range(4) for turn in range(5)
            }
            same(kept, {pair: list(pair) for pair in kept}, "what four threads have written")

    def test_another_instance_reads_what_one_wrote(self) -> None:
        """As the next process does."""
        with self.provider() as storage, self.provider() as other:
            self._persistent(storage)
            storage.post("w:a", Context([1], task_id="a", workflow_id="w", time=_WHEN))
            same(exactly(other.get("w:a")), exactly(storage.get("w:a")), "what another instance reads")

    def test_close_then_use_works_or_says_so(self) -> None:
        """A storage that two workflows share is closed by the first of them."""
        with self.provider() as storage:
            storage.post("w:a", Context(1, task_id="a", workflow_id="w"))
            storage.close(1.0)
            try:
                storage.post("w:a", Context(2, task_id="a", workflow_id="w"))
                found = storage.get("w:a").storage
            except Exception:  # noqa: BLE001 - a clear failure is one, too
                return
            same(found, 2, "what was posted after close()")

    # --- damage

    def test_damage_is_never_a_result(self) -> None:
        """Emptied, cut off, changed, made longer, or put in another's place: `get` raises."""
        with self.provider() as storage:
            storage.post("w:other", Context(["another"], task_id="other", workflow_id="w"))
            for name, change in _DAMAGES.items():
                storage.post("w:a", Context(["right"], task_id="a", workflow_id="w"))
                self.damage(storage, "w:a", change)
                try:
                    found = storage.get("w:a")
                except StorageError:
                    continue
                fail(f"a context that was {name} came back as {found!r}; StorageError was to be raised")

    def test_a_damaged_task_runs_again(self) -> None:
        """It is reported, those before it are taken over, and what was made of its result runs again too."""
        with self.provider() as storage:
            workflow = numbered(storage, 3)
            run_of(workflow)
            self.damage(storage, storage.key(workflow.result_task()[1]), lambda data: data[: len(data) // 2])
            run = run_of(workflow, resume=True)
            same(_results(run), ["restored", "success", "success"], "the tasks of a run that resumes with one damaged")

    # --- runs

    def test_it_keeps_the_results_of_a_run_with_every_executor(self) -> None:
        """Wherever steps run, it is written by the coordinator."""
        for executor, how in EXECUTORS.items():
            with self.provider() as storage, numbered(storage, 3) as workflow:
                run = run_of(workflow, **how)
                same(_results(run), ["success"] * 3, f"the tasks {executor}")
                kept = [storage.get(storage.key(task)).storage for task in run.tasks]
                same(kept, [(0,), (1,), (2,)] if how["mode"] == "parallel" else [(0,), (0, 1), (0, 1, 2)], executor)

    def test_runs_side_by_side_keep_their_own(self) -> None:
        """Several workflows at once on one storage."""
        with self.provider() as storage:
            workflows = [numbered(storage, 3, workflow_id=f"w-{number}") for number in range(4)]
            runs = together([lambda each=workflow: run_of(each) for workflow in workflows])  # type: ignore[misc]
            for run in runs:
                same(
                    [storage.get(storage.key(task)).task_id for task in run.tasks],
                    [t.task_id for t in run.tasks],
                    "ids",
                )
                same(_results(run), ["success"] * 3, "the tasks of one of four runs")

    def test_a_resumed_run_takes_over_what_had_finished(self) -> None:
        """In another instance; what had failed runs."""
        with self.provider() as first, self.provider() as second:
            self._persistent(first)
            failing = DotFlow(Config(storage=first), name="contract", workflow_id="w-1")
            failing.task.add(step=[step_of(0), _step])
            same(_results(run_of(failing)), ["success", "failure"], "the tasks of the first run")
            mended = numbered(second, 1)
            mended.task.add(step=action(name="step")(lambda: "well"))
            run = run_of(mended, resume=True)
            same(_results(run), ["restored", "success"], "the tasks of the resumed run")
            same(mended.result_storage(), [(0,), "well"], "the results of the resumed run")

    def test_a_run_that_was_killed_is_resumed(self) -> None:
        """`kill -9` of the coordinator, then of the one that resumes it: nothing that had finished runs again."""
        with self.provider() as storage:
            self._persistent(storage)
            killed = Killed(self.source())
            same(killed.at(1, resume=False), ["began 0", "began 1"], "what ran before the first kill")
            same(killed.at(3, resume=True), ["began 1", "began 2", "began 3"], "what ran before the second kill")
            workflow = numbered(storage, 4)
            run = run_of(workflow, resume=True)
            same(_results(run), ["restored", "restored", "restored", "success"], "the tasks after two kills")
            same(workflow.result_storage()[-1], (0, 1, 2, 3), "the last result after two kills")

    # --- records of runs, and the optional operations

    def test_the_record_of_a_run_comes_back(self) -> None:
        """If it keeps any: apart from the tasks' contexts, one for each workflow, the latest."""
        with self.provider() as storage:
            if type(storage).post_run is Storage.post_run:
                raise unittest.SkipTest("this storage keeps no records of runs")
            check(storage.get_run("w").is_empty, "get_run() gave a record before there was one")
            for number in range(2):
                for flow in ("w", "v", "w:v"):
                    storage.post_run(flow, Context({"run": number, "of": flow}, workflow_id=flow, time=_WHEN))
            for flow in ("w", "v", "w:v"):
                same(storage.get_run(flow).storage, {"run": 1, "of": flow}, "the record that came back")

    def test_whose_a_context_is_comes_back(self) -> None:
        """If it keeps records: without its origin, the context of an older run is told from newer ones by clocks alone."""
        with self.provider() as storage:
            if type(storage).post_run is Storage.post_run:
                raise unittest.SkipTest("this storage keeps no records of runs")
            for origin in ("0af7651916cd43dd8448eb211c80319c", None):
                storage.post("w:a", Context(1, task_id="a", workflow_id="w", origin=origin))
                same(storage.get("w:a").origin, origin, "the origin of a context that came back")

    def test_delete_forgets_one(self) -> None:
        """If it can: that one, also when it is not there."""
        with self.provider() as storage:
            storage.post("w:a", Context(1, task_id="a", workflow_id="w"))
            storage.post("w:ab", Context(2, task_id="ab", workflow_id="w"))
            for _ in range(2):
                _or_skip(lambda: storage.delete("w:a"))
            check(storage.get("w:a").is_empty, "delete() did not forget")
            same(storage.get("w:ab").storage, 2, "what delete() was to leave alone")

    def test_list_keys_lists_those_of_a_prefix(self) -> None:
        """If it can: all of them, sorted, as they are now, and what is special in a pattern stands for itself."""
        with self.provider() as storage:
            same(_or_skip(storage.list_keys), [], "the keys of an empty storage")
            keys = ["w:a", "w:b", "v:a", "w:*", "w*:a", "w?:a", "w[a]:a", "w\\*:a", "日:本"]
            for key in keys:
                storage.post(key, Context(1, task_id="t"))
                same(storage.list_keys(key), [key], f"the keys that begin with {key!r}")
            same(storage.list_keys(), sorted(keys), "all keys")
            for prefix in ("w", "w:", "w*", "w?", "w[", "w\\", ":a", "日"):
                found = sorted(key for key in keys if key.startswith(prefix))
                same(storage.list_keys(prefix), found, f"the keys that begin with {prefix!r}")

    def test_clear_forgets_a_workflow_and_no_other(self) -> None:
        """If it can: also not one whose id begins alike."""
        with self.provider() as storage:
            for flow in ("w", "w:v", "wv", "*"):
                for task in ("a", "b"):
                    storage.post(f"{flow}:{task}", Context(1, task_id=task, workflow_id=flow))
                storage.post(run_key(flow), Context({}, workflow_id=flow))
            same(_or_skip(lambda: storage.clear("w")), 3, "how many clear() says that it forgot")
            check(storage.get("w:a").is_empty and storage.get(run_key("w")).is_empty, "clear() did not forget")
            kept = [key for flow in ("w:v", "wv", "*") for key in (f"{flow}:a", f"{flow}:b", run_key(flow))]
            same([key for key in kept if storage.get(key).is_empty], [], "what clear() took from other workflows")
            same(storage.clear("*"), 3, "how many clear('*') forgot")
            long = "w:" + "l" * 70_000
            storage.post(f"{long}:a", Context(1, task_id="a", workflow_id=long))
            storage.clear("w")
            same(
                storage.get(f"{long}:a").storage,
                1,
                "what clear('w') left of a workflow with a long id that begins alike",
            )
            same(storage.clear(long), 1, "how many clear() of the workflow with a long id forgot")
            same(storage.clear("nothing"), 0, "how many clear() of an unknown workflow forgot")

    # --- helpers

    def _kept_or_refused(self, storage: Storage, value: Any) -> Context | None:
        try:
            storage.post("w:rich", Context(value, task_id="rich", workflow_id="w"))
        except Exception:  # noqa: BLE001 - what it raises is its choice
            return None
        return storage.get("w:rich")

    def _persistent(self, storage: Storage) -> None:
        if not storage.persistent:
            raise unittest.SkipTest("this storage says that it is not persistent")


@action(name="step")
def _step() -> None:
    raise ConnectionError("not yet")


def _results(run: Run) -> list[str | None]:
    return [str(task.result.value) if task.result else None for task in run.tasks]


def _or_skip(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except StorageUnsupported as error:
        raise unittest.SkipTest(str(error)) from None


_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: data[:0],
    "cut in half": lambda data: data[: len(data) // 2],
    "short of its last byte": lambda data: data[:-1],
    "changed in its first byte": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "changed in the middle": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]
    ),
    "changed in its last byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "overwritten with zeros": lambda data: bytes(len(data)),
    "written twice": lambda data: data * 2,
    "followed by something": lambda data: data + b" ",
    "replaced": lambda _: b'["wrong"]',
}
