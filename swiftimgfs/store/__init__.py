"""What Swift says: the only package that knows swiftclient, keystoneauth1 and openstacksdk."""
