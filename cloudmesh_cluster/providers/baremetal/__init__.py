"""The provider `baremetal`: machines that exist already, taken over SSH and given back as they were."""
