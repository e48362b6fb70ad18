"""Whether a request may come in now: the pace of keys and teams, the length of the queue, policy and moderation."""
