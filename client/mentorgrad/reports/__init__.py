"""Reports of experiments as text, Markdown and one page of HTML."""
