"""ray_losses.py, by what Ray 2.60 says."""

import pytest

from sentiment_batch.errors import EnvironmentFailure, UsageError
from sentiment_batch.ray_losses import loss_in_words

DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: RayWorker
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: """
NOT_IMPORTED = f"""{DIED}Worker exits with an exit code None. Traceback (most recent call last):
  File "python/ray/_raylet.pyx", line 2198, in ray._raylet.execute_task
RuntimeError: The actor with name RayWorker failed to import on the worker. This may be because needed library ...:

Traceback (most recent call last):
    actor_class = pickle.loads(pickled_class)
ModuleNotFoundError: No module named 'sentiment_batch'

During handling of the above exception, another exception occurred:
AttributeError: something else"""


class ActorDiedError(Exception):
    pass


def test_what_is_worth_a_line() -> None:
    assert loss_in_words(ActorDiedError(f"{DIED}Worker exits\nunexpectedly. {'x' * 999}")).startswith(
        "ActorDiedError: Worker exits unexpectedly. xxx"
    )
    said = loss_in_words(
        RuntimeError("The actor is unavailable: Socket closed. The task may or may not have been done.")
    )
    assert said == "RuntimeError: The actor is unavailable: Socket closed."
    assert len(loss_in_words(ActorDiedError("y" * 999))) < 200


def test_a_node_without_the_package() -> None:
    with pytest.raises(
        UsageError, match=r"cannot import sentiment-batch \(ModuleNotFoundError: No module named .*\): in"
    ):
        loss_in_words(ActorDiedError(NOT_IMPORTED))


def test_the_node_of_the_driver() -> None:
    with pytest.raises(EnvironmentFailure, match="host of this driver has crashed; what is finished is kept"):
        loss_in_words(ActorDiedError(f"{DIED}Owner's node has crashed."))
