"""All settings are in setup.cfg; this file lets old installers find them."""

from setuptools import setup

setup()
