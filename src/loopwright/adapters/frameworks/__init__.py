"""Learning frameworks behind one port; each module is imported only when its flavour is used."""
