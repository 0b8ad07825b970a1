from ._export import Export as Export, make_export as make_export
from ._files import (
    FORMATS as FORMATS,
    read_export as read_export,
    read_key as read_key,
    write_export as write_export,
    write_key as write_key,
)
from ._judgements import read_judgements as read_judgements
from ._page import form_page as form_page
from ._report import Report as Report, make_report as make_report
from ._schema import Judgement as Judgement, Key as Key, Shown as Shown
