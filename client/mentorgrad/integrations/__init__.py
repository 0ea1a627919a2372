"""What joins mentorgrad to other libraries: training loops, classifiers and experiment trackers.

`torch` supports a plain torch loop, `huggingface` a `Trainer` with PEFT, and `lightning` Lightning,
by mentor sessions; `sklearn` has a classifier; `tracking` writes runs for `tensorboard`, `mlflow`
and `wandb`. Each module but `tracking` requires its library to be installed; the rest of the SDK
does not import them.
"""
