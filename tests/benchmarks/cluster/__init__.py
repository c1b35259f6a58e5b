"""Many runs over many hosts, and one run over several processes."""
