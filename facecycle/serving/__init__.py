"""The page that people try the weights on, and the program that answers it on their own machine."""
