"""Where pictures stay for good: the object store, its keys, and the URLs handed out."""
