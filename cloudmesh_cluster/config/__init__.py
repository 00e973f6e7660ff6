"""What users write: profiles, `providers.yaml`, additions to Heat templates, acluster's words."""
