# SPDX-License-Identifier: Apache-2.0
"""What runs inside the program that is looked at. Nothing here changes what the program computes, but for the batches that it is
told to be given and the arguments that it is told to take."""
