"""Network definitions. The modules of this folder are torch modules: they are imported only when one is built."""
