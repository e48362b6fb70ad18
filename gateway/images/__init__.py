"""What a picture request is: the models, their parameters, their prices, and the bytes that come back."""
