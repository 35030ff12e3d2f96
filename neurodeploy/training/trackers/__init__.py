"""Services that show trainings beside one another, which are told of epochs where that is asked."""
