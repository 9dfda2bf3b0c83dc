"""Services: what is to be started when its object is called, as its files say."""
