//! What a change of users means for those who are logged in: who is gone is cut off, and so is who listens to what they may
//! not hear any more.

use super::selector::matches_any;
use super::{Acl, Login, User};
use crate::client::{ClientClass, ClientState, Slot};
use crate::shared::Shared;

impl Shared {
    /// `requirepass` has changed: it is the default user's password.
    pub(crate) fn requirepass_changed(&mut self) {
        self.acl.set_requirepass(&self.config.requirepass);
    }

    /// Puts a user into the table, new or in place of the one of the same name. `own` is the client whose command it is.
    pub(crate) fn set_user(&mut self, own: &mut ClientState, user: User) {
        let name = user.name.clone();
        let Some(old) = self.acl.get(&name) else {
            self.acl.put(user);
            // Logged in elsewhere, with the news of the user on its way.
            for login in
                self.clients.iter_mut().filter_map(|(_, client)| Some(&mut client.as_mut()?.state.login))
            {
                if !login.is_known() && *login.name == *name {
                    *login = self.acl.login(&name);
                }
            }
            return;
        };
        let revoked = revokes_channels(old, &user);
        let allowed: Vec<Box<[u8]>> =
            user.all_selectors().flat_map(|selector| selector.channels.iter().cloned()).collect();
        self.acl.put(user);
        if !revoked {
            return;
        }
        let id = self.acl.login(&name).id;
        let listens = |client: &ClientState| {
            client.login.id == id
                && client.class() == ClientClass::PubSub
                && hears_more_than(client, &allowed)
        };
        if listens(own) {
            own.close_after_reply = true;
        }
        for slot in self.slots_where(listens) {
            self.kill(slot);
        }
    }

    /// Removes a user, who is logged out everywhere. False when there is none.
    pub(crate) fn delete_user(&mut self, own: &mut ClientState, name: &[u8]) -> bool {
        let Some(id) = self.acl.remove(name) else { return false };
        if own.login.id == id {
            log_out(own, &self.acl);
            own.close_after_reply = true;
        }
        for slot in self.slots_where(|client| client.login.id == id) {
            self.kill(slot);
            if let Some(client) = self.client(slot) {
                // The id will be somebody else's.
                client.state.authenticated = false;
                client.state.login = Login::default_user();
            }
        }
        true
    }

    /// These are all the users from here on, with the default one as it is without configuration if it is not among them.
    pub(crate) fn replace_users(&mut self, own: &mut ClientState, mut users: Vec<User>) {
        if !users.iter().any(|user| *user.name == *super::DEFAULT) {
            users.push(User::default_user());
        }
        let gone: Vec<_> = self.acl.users().map(|user| user.name.clone()).collect();
        for name in gone.iter().filter(|name| !users.iter().any(|user| user.name == **name)) {
            self.delete_user(own, name);
        }
        for user in users {
            self.set_user(own, user);
        }
    }

    fn slots_where(&self, fits: impl Fn(&ClientState) -> bool) -> Vec<Slot> {
        let clients = self.clients.iter().filter_map(|(slot, client)| Some((slot, client.as_deref()?)));
        clients.filter(|(_, client)| fits(&client.state)).map(|(slot, _)| slot).collect()
    }
}

/// The client is nobody any more.
fn log_out(client: &mut ClientState, acl: &Acl) {
    client.authenticated = false;
    client.login = acl.login(super::DEFAULT);
}

/// Are there channels that the user could hear before and cannot now? Compared rule by rule, as Redis does.
fn revokes_channels(old: &User, new: &User) -> bool {
    if new.all_selectors().any(|selector| selector.all_channels) {
        return false;
    }
    let kept = |channel| new.all_selectors().any(|selector| selector.channels.contains(channel));
    old.all_selectors().any(|selector| selector.all_channels || !selector.channels.iter().all(kept))
}

fn hears_more_than(client: &ClientState, allowed: &[Box<[u8]>]) -> bool {
    let subscriptions = &client.subscriptions;
    let mut names = subscriptions.channels.iter().chain(&subscriptions.shard_channels);
    names.any(|name| !matches_any(allowed, name, false))
        || subscriptions.patterns.iter().any(|pattern| !matches_any(allowed, pattern, true))
}
