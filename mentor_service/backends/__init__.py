"""LLM runtimes behind one small protocol."""
