"""Pictures: samples, curves and charts, as files, in windows or inside a page."""
