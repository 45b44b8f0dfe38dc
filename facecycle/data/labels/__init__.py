"""What label files of many data sets share."""
