"""stub"""
from loguru import logger
logger.disable("zfoo_py")
def enable_logging(level="INFO"): logger.enable("zfoo_py")
def disable_logging(): logger.disable("zfoo_py")
def rate_limited(name, text): logger.warning(text)
