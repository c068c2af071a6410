"""Configuration beside the workload: ConfigMaps, Secrets and what else a policy names, remembered per revision."""
