"""llama.cpp, for the mentor's backend and for tuned models in GGUF files."""
