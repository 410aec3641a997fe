"""The tolerance law for tests; it is stated in gpucnn/conv/law.py, as `gpucnn bench` refuses what breaks it, too."""

from gpucnn.conv.law import LIMIT, TINY, U_ACC, U_OUT, check, check_conv, factor

__all__ = ["LIMIT", "TINY", "U_ACC", "U_OUT", "check", "check_conv", "factor"]
