//! Back to the bytes of a `.torrent`, around the raw bytes of `info`.

use crate::bencode::Item;

use super::Metainfo;

impl Metainfo {
    /// The bytes of a `.torrent` that says the same. `info` stands in it as it was read, so its hashes stay.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut entries: Vec<(&str, Item)> = vec![("info", Item::Raw(self.info_bytes.clone()))];
        let mut add = |key, item: Option<Item>| entries.extend(item.map(|item| (key, item)));
        let first_tracker = self.trackers.iter().flatten().next();
        let several = self.trackers.iter().flatten().nth(1).is_some();
        add("announce", first_tracker.map(Item::from));
        add("announce-list", several.then(|| Item::List(self.trackers.iter().map(Item::list).collect())));
        add("url-list", some_list(&self.web_seeds));
        add("httpseeds", some_list(&self.http_seeds));
        add("nodes", (!self.nodes.is_empty()).then(|| Item::List(self.nodes.iter().map(node).collect())));
        add("comment", self.comment.as_ref().map(Item::from));
        add("created by", self.created_by.as_ref().map(Item::from));
        add("creation date", self.creation_date.map(Item::from));
        let similar = self.similar.iter().filter(|hash| !self.info.similar.contains(hash));
        let similar: Vec<_> = similar.map(|hash| Item::from(hash.0.as_slice())).collect();
        add("similar", (!similar.is_empty()).then_some(Item::List(similar)));
        let collections: Vec<_> =
            self.collections.iter().filter(|name| !self.info.collections.contains(name)).collect();
        add("collections", some_list(collections));
        add("piece layers", self.info.has_v2().then(|| self.layers()));
        Item::dict(entries).to_bytes()
    }

    fn layers(&self) -> Item {
        Item::dict(self.piece_layers.iter().map(|(root, layer)| (root.0, Item::from(layer.as_ref()))))
    }
}

fn some_list<'a>(texts: impl IntoIterator<Item = &'a String>) -> Option<Item> {
    let items: Vec<_> = texts.into_iter().map(Item::from).collect();
    (!items.is_empty()).then_some(Item::List(items))
}

fn node((host, port): &(String, u16)) -> Item {
    Item::List(vec![host.into(), u32::from(*port).into()])
}
