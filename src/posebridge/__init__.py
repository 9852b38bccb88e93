"""posebridge: pose estimators trained without one label from the place where they will be used."""
