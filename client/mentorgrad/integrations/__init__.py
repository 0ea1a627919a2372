"""Mentor sessions for the training loops of other libraries.

`torch` supports a plain torch loop, `huggingface` a `Trainer` with PEFT, and `lightning` Lightning.
Each module requires its library to be installed; the rest of the SDK does not import them.
"""
