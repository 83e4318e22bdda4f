"""What counts as the same answer: the argmax, or any other question about a model's output."""
