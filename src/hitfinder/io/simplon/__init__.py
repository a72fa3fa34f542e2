"""Messages of DECTRIS detectors: SIMPLON stream v1 and stream2."""
