"""What the tests share: ways to run `cm`, machines, clouds, channels, and looks at what is left."""
