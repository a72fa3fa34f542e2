"""Matching, classification and calibration."""
