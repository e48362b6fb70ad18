"""The SQL of record, the unit of work, every Redis key spelled once, and the migrations."""
