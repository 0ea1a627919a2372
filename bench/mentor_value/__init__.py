"""Where is a mentor worth it? Prompts in words for causal language models, against controls.

A *cell* is one run: a task, a tuned model, a budget, a number of shots, a seed and an arm. Arms of
one cell have the same rows, the same number of texts scored and the same limits; they differ in
who writes the texts. `arms` has the arms and their specs, `plan` the cells and what they cost,
`records` the file of finished runs, `conduct` the services, `figures` differences with intervals,
`tables` and `picture` what is published.
"""
