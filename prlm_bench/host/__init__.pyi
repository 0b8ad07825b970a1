from ._checked_metric import CheckedMetric as CheckedMetric
from ._component import Component as Component, ComponentChoice as ComponentChoice
from ._faults import (
    Fault as Fault,
    Origin as Origin,
    PluginFault as PluginFault,
    WrongResultError as WrongResultError,
    fault_of as fault_of,
)
from ._hookspecs import (
    Register as Register,
    RegisterCommand as RegisterCommand,
    RegisterMethod as RegisterMethod,
    RegisterTask as RegisterTask,
    hookimpl as hookimpl,
)
from ._host import Method as Method, Plugin as Plugin, PluginHost as PluginHost
from ._registry import (
    KINDS as KINDS,
    NEEDS as NEEDS,
    Registry as Registry,
    given as given,
)
from ._scaffold import write_plugin as write_plugin
from ._specs import Option as Option, Spec as Spec, parse_spec as parse_spec
