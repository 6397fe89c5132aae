"""The chat template of Llama 2, in our own writing: for a base model that has none, and saved with it.

Every exchange is a sequence of its own, `<s>[INST] question [/INST] answer </s>`; a system text stands in the first
question between `<<SYS>>` and `<</SYS>>`. Other turns have no place in the format.
"""

LLAMA2 = """\
{%- set talk = namespace(system='', expected='user') %}
{%- for turn in messages %}
    {%- if turn.role == 'system' and loop.first %}
        {%- set talk.system = '<<SYS>>\\n' ~ turn.content ~ '\\n<</SYS>>\\n\\n' %}
    {%- elif turn.role != talk.expected or turn.tool_calls or tools %}
        {{- raise_exception("Llama 2 has turns of user and assistant after an optional system text, and no tools") }}
    {%- elif turn.role == 'user' %}
        {{- bos_token ~ '[INST] ' ~ talk.system ~ turn.content | trim ~ ' [/INST]' }}
        {%- set talk.system = '' %}
        {%- set talk.expected = 'assistant' %}
    {%- else %}
        {{- ' ' ~ turn.content | trim ~ ' ' ~ eos_token }}
        {%- set talk.expected = 'user' %}
    {%- endif %}
{%- endfor %}"""
