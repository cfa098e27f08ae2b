"""The hook functions: CodeDeploy calls them before a new version of another function gets traffic."""
