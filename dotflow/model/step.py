"""A step, looked at once when it is added: what it is, what it wants, how it is called."""

from __future__ import annotations

import builtins
import functools
import importlib
import inspect
from dataclasses import dataclass, replace
from operator import is_
from types import CodeType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from dotflow.errors import ImportModuleError, MissingActionDecorator, StepSignatureError
from dotflow.model.action import MARK, ActionOptions, is_async, named_part, options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Call", "Parameter", "Step", "import_object"]

_SUPPLIED = ("initial_context", "previous_context")


class Parameter(NamedTuple):
    """A parameter that is none of the two contexts. `annotation` is a class, or None where it is anything else."""

    name: str
    has_default: bool
    annotation: Any = None


@dataclass(frozen=True, slots=True)
class Call:
    """A callable, and which of the two contexts it names. Plain parameters are passed by name beside them."""

    target: Callable[..., Any]
    wants_initial: bool
    wants_previous: bool
    is_async: bool = False

    def bound_to(self, target: Callable[..., Any]) -> Call:
        """The same call on another callable: a method once its instance exists."""
        return replace(self, target=target)


@dataclass(frozen=True)
class Step:
    """What `@action` marked, ready to be called: a function (`call`), or a class with its methods (`methods`).

    `function_name` is the value of OpenTelemetry's `code.function.name`: module and qualified name. `is_async`: any part of
    it is a coroutine. `parameters` are those of the function, or of the class's `__init__`, that are none of the two
    contexts; with `takes_rest` it takes more by keyword. `wants_previous`: any part of it names `previous_context`. `returns` is the class that its annotation names, if it does.
    """

    source: Callable[..., Any]
    name: str
    function_name: str
    options: ActionOptions
    call: Call
    methods: tuple[tuple[str, Call], ...] = ()
    is_class: bool = False
    is_async: bool = False
    parameters: tuple[Parameter, ...] = ()
    takes_rest: bool = False
    wants_previous: bool = False
    returns: Any = None

    @classmethod
    def of(cls, step: object) -> Step:
        """Look at a step, or at the dotted path of one: once for as long as any task has it, and again if it was changed.

        Raises:
            ImportModuleError: the path does not lead to an object.
            MissingActionDecorator: the object is not marked.
            StepSignatureError: it is a generator function, or takes by position only what dotflow passes by name.
        """
        if isinstance(step, str):
            step = import_object(step)
        # A bound method is another object each time that somebody asks for it.
        key = (id(step.__self__), id(step.__func__)) if isinstance(step, MethodType) else id(step)
        look = _looks.get(key)
        if look is None or not look.still_holds(step) or (found := look.step()) is None:
            found = cls._look_at(step)
            _remember(key, found)
        return found

    @classmethod
    def _look_at(cls, step: object) -> Step:
        options = options_of(step)
        if options is None or not callable(step):
            raise MissingActionDecorator(step)
        name: str = options.name or named_part(step).__name__
        refuse_generator(step, name)
        parameters = _parameters(step)
        call = _inspect_call(step, name, parameters)
        methods = _action_methods(step) if isinstance(step, type) else ()
        plain = [p for p in parameters if not _is_variadic(p) and p.name not in _SUPPLIED and _by_name(p)]
        return cls(
            source=step,
            name=name,
            function_name=_function_name(step),
            options=options,
            call=call,
            methods=methods,
            is_class=isinstance(step, type),
            is_async=call.is_async or any(method.is_async for _, method in methods),
            parameters=tuple(
                Parameter(p.name, p.default is not p.empty, _annotated(p.annotation, step)) for p in plain
            ),
            wants_previous=call.wants_previous or any(method.wants_previous for _, method in methods),
            takes_rest=any(p.kind is p.VAR_KEYWORD for p in parameters),
            returns=None if isinstance(step, type) else _annotated(_return_annotation(step), step),
        )


class _Look:
    """What was found when a step was looked at, and what it was like then. Holds nothing that could hold the Step."""

    __slots__ = ("code", "mark", "methods", "step")

    def __init__(self, step: ref[Step], source: object) -> None:
        self.step = step
        self.mark, self.code, self.methods = options_of(source), getattr(source, "__code__", None), _methods(source)

    def still_holds(self, source: object) -> bool:
        """False once a notebook that loads a module again has replaced parts of a function or a class, which stays itself."""
        if self.code is not None:
            return source.__code__ is self.code and source.__dict__.get(MARK) is self.mark  # type: ignore[attr-defined]
        methods = _methods(source)
        return (
            options_of(source) is self.mark
            and len(methods) == len(self.methods)
            and all(map(is_, methods, self.methods))
        )


# Kept for as long as somebody has the Step. It holds its source, whose id no other object can have until then.
_looks: dict[Hashable, _Look] = {}


def _remember(key: Hashable, step: Step) -> None:
    def forget(gone: ref[Step], looks: dict[Hashable, _Look] = _looks) -> None:
        if key in looks and looks[key].step is gone:
            del looks[key]

    _looks[key] = _Look(ref(step, forget), step.source)


def _methods(source: object) -> list[CodeType]:
    """The code of what a class defines itself."""
    members = vars(source).values() if isinstance(source, type) else ()
    codes = (getattr(getattr(member, "__func__", member), "__code__", None) for member in members)
    return [code for code in codes if isinstance(code, CodeType)]


def import_object(path: str) -> object:
    """The object at `package.module:attribute` or `package.module.attribute`.

    Raises:
        ImportModuleError: naming the path; the real cause is chained.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon:
        module_name, _, attribute = path.rpartition(".")
    if not module_name or not attribute:
        raise ImportModuleError(path, "write it as 'package.module:step' or 'package.module.step'")
    try:
        found: object = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as cause:  # importing runs the module's code, which may raise anything
        raise ImportModuleError(path, f"{type(cause).__name__}: {cause}") from cause
    return found


def _action_methods(cls: type) -> tuple[tuple[str, Call], ...]:
    """The `@action` methods in the order of their definition, those of base classes first."""
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    found = []
    for name in names:
        member = inspect.getattr_static(cls, name)
        function = getattr(member, "__func__", member)
        if not isinstance(member, type) and options_of(function) is not None:
            # A plain function in a class has `self` in front, which is bound when the method is called.
            bound = not isinstance(member, staticmethod)
            full_name = f"{cls.__name__}.{name}"
            refuse_generator(function, full_name)
            parameters = _parameters(function, skip_first=bound)
            _refuse_plain(parameters, full_name)
            found.append((name, _inspect_call(function, full_name, parameters)))
    if not found:
        raise StepSignatureError(
            f"class step {cls.__qualname__!r} has no method marked with @action: nothing would run"
        )
    return tuple(found)


def refuse_generator(target: Callable[..., Any], name: str) -> None:
    """Refuse a generator function: calling it makes a generator, and runs nothing.

    Raises:
        StepSignatureError: it is one.
    """
    function = inspect.unwrap(named_part(target))
    call = getattr(type(target), "__call__", None)  # noqa: B004 - asks how it is called, not whether
    for each in (function, None if isinstance(target, type) else call):
        if inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each):
            raise StepSignatureError(
                f"step {name!r} is a generator function: calling it runs nothing of it. Collect what it yields into a "
                "list and return that"
            )


def _parameters(target: Callable[..., Any], *, skip_first: bool = False) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature: it cannot name our contexts
        return []
    bound = set()
    while isinstance(target, functools.partial):
        bound |= set(target.keywords)
        target = target.func
    return [p for p in (parameters[1:] if skip_first else parameters) if p.name not in bound]


def _inspect_call(target: Callable[..., Any], name: str, parameters: list[inspect.Parameter]) -> Call:
    _refuse_positional(parameters, name)
    wanted = {parameter.name for parameter in parameters if not _is_variadic(parameter)}
    return Call(
        target=target,
        wants_initial="initial_context" in wanted,
        wants_previous="previous_context" in wanted,
        is_async=is_async(target),
    )


def _refuse_positional(parameters: list[inspect.Parameter], name: str) -> None:
    positional = [
        p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and (p.default is p.empty or p.name in _SUPPLIED)
    ]
    if positional:
        raise StepSignatureError(
            f"step {name!r} takes {', '.join(positional)} by position only: dotflow passes it by name, remove the '/'"
        )


def _refuse_plain(parameters: list[inspect.Parameter], name: str) -> None:
    """A method of a class gets the contexts; what else there is to be filled goes to the class itself."""
    unknown = [p.name for p in parameters if not _is_variadic(p) and p.default is p.empty and p.name not in _SUPPLIED]
    if unknown:
        raise StepSignatureError(
            f"method {name!r} asks for {', '.join(unknown)}: a method gets initial_context and previous_context only; "
            "let __init__ take the others, or give them a default"
        )


def _by_name(parameter: inspect.Parameter) -> bool:
    return parameter.kind is not parameter.POSITIONAL_ONLY


def _return_annotation(step: Callable[..., Any]) -> Any:
    return getattr(inspect.unwrap(named_part(step)), "__annotations__", {}).get("return")


def _annotated(annotation: Any, step: Callable[..., Any]) -> Any:
    """The class that an annotation names, if it names a plain one; None for what is more than that, or is missing."""
    if isinstance(annotation, str):
        names = getattr(inspect.unwrap(named_part(step)), "__globals__", {})
        annotation = names.get(annotation, getattr(builtins, annotation, None))
    return annotation if type(annotation) is type and annotation is not inspect.Parameter.empty else None


def _is_variadic(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _function_name(step: Callable[..., Any]) -> str:
    owner = named_part(step)
    return f"{owner.__module__}.{owner.__qualname__}"
