from ._chat import (
    chat_prompt as chat_prompt,
    plain_ask as plain_ask,
    turns_prompt as turns_prompt,
)
from ._lamp import lamp_prompt as lamp_prompt, lamp_prompts as lamp_prompts
from ._parsing import (
    find_answer as find_answer,
    parse_completion as parse_completion,
    read_object as read_object,
)
from ._ranking import by_score as by_score
from ._reasoning import (
    Reasoning as Reasoning,
    find_reasoning as find_reasoning,
    mark_reasoning as mark_reasoning,
    open_reasoning as open_reasoning,
    reasoning_marks as reasoning_marks,
    split_reasoning as split_reasoning,
)
from ._stop import stop_texts as stop_texts
from ._token_budget import max_prompt_tokens as max_prompt_tokens, token_budget as token_budget
from ._tokenizers import (
    HubTokenizer as HubTokenizer,
    WordTokenizer as WordTokenizer,
    asks_for_code as asks_for_code,
    load_tokenizer as load_tokenizer,
    quiet_transformers as quiet_transformers,
)
