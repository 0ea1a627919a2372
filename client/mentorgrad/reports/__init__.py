"""Reports of experiments as text, Markdown and self-contained HTML."""
