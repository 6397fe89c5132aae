"""Rows that do not have their task's form: one message that names them, instead of an error from deep inside a task."""

from collections.abc import Callable
from typing import Any

from jinja2 import TemplateError

from longreach.errors import UserError
from longreach.model.load import why

MALFORMED = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError, TemplateError)


def watch_rows(task: Any, source: str) -> None:
    """Have a task name the row that it can neither ask nor score; its data come from `source`."""
    for name, what in (("fewshot_context", "asked"), ("construct_requests", "asked"), ("process_results", "scored")):
        setattr(task, name, _watched(task, source, what, getattr(task, name)))


def _watched(task: Any, source: str, what: str, do: Callable[..., Any]) -> Callable[..., Any]:
    def watched(*given: Any, **options: Any) -> Any:
        try:
            return do(*given, **options)
        except MALFORMED as error:
            doc = given[0] if given else options["doc"]
            number = next((number for number, row in enumerate(task.eval_docs, 1) if row == doc), 0)
            raise UserError(
                f"{task.config.task}: row {number:,} cannot be {what}: {type(error).__name__}: {why(error)}",
                f"are the data of the form of {source}? what is finished is kept",
            ) from error

    return watched
