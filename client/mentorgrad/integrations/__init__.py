"""Sessions for the training loops of other libraries; each module needs its library installed.

Nothing of the SDK imports these modules: `torch` for a plain loop, `huggingface` for a `Trainer`
with PEFT, `lightning` for Lightning.
"""
