"""Running bundles: the cascade of stages on windows and on streams, in numpy."""
