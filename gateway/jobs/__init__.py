"""The story of one request, from acceptance to its picture; does all the talking between the rooms below."""
